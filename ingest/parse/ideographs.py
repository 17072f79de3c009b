"""Which East Asian encoding bytes are in, told by the characters that people use most.

Detectors by statistics need a page of text; a table or a note of twenty characters is where they fail. Each codec is
tried strictly, and what it gives is judged: frequent characters speak for it, rare ones against it.
"""

from __future__ import annotations

from collections.abc import Callable

_SIMPLIFIED = (
    "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生自会那后能对着事其里所去行过家十用发天如"
    "然作方成者多日都三小军二无同么经法当起与好看学进种将还分此心前面又定见只主没公从知全两明信文本名称姓电话址单位编号市区省"
    "县路部门系统测试数据档案使简体字符码检页内容报告表项目月期价格数量"
)
_TRADITIONAL = (
    "的一是不了人我在有他這為之大來以個中上們到說國和地也子時道出而要於就下得可你年生自會那後能對著事其裡所去行過家十用發天如"
    "然作方成者多日都三小軍二無同麼經法當起與好看學進種將還分此心前面又定見只主沒公從知全兩明信文本名稱姓電話址單位編號市區省"
    "縣路部門系統測試數據檔案使繁體字符碼檢頁內容報告表項目月期價格數量臺灣"
)
_JAPANESE = (
    "日一国人年大十二本中長出三時行見月分後前生五間上東四今金九入学高円子外八六下来気小七山話女北午百書先名川千水半男西電校語"
    "土木聞食車何南万毎白天母火右読友左休父雨住所齢会社氏郵便番号県市区町村京阪部課商品価格数量合計備考文字化表田中佐藤木郎"
)
_KOREAN = (
    "이다는의을에가은를하고한로지사기도아그서나어자들리인시대해있으것수일만정과요게보여라면장니년적부제동전상주여구성원공문안"
    "녕세우신소번호름명서울시민국김박최조윤회비교학생업무입습합됩내용거래금액품"
)
_MARKS = "、。，．・：；？！「」『』（）〔〕【】《》〈〉…—～ー　“”‘’·"


def likely_encoding(sample: bytes) -> str | None:
    """The name of the codec whose reading of `sample` is plainly East Asian text, or None.

    A character cut off at the end of the sample does no harm.
    """
    best, winner = 1.0, None
    for encoding, frequent, is_common in _CANDIDATES:
        text = _tolerant_of_the_end(sample, encoding)
        if text is None:
            continue
        score = _score(text, encoding, frequent, is_common)
        if score > best:
            best, winner = score, encoding
    return winner


def _tolerant_of_the_end(sample: bytes, encoding: str) -> str | None:
    for cut in range(3):
        try:
            return sample[: len(sample) - cut].decode(encoding)
        except UnicodeDecodeError as exc:
            if exc.end < len(sample) - cut:
                return None
    return None


def _score(text: str, encoding: str, frequent: frozenset[str], is_common: Callable[[bytes], bool]) -> float:
    """Mean weight of the characters beyond ASCII."""
    total, count = 0.0, 0
    for character in text[:20_000]:
        if character < "\x80":
            continue
        count += 1
        if character in frequent:
            total += 3
        elif character in _MARKS:
            total += 1
        elif "\uff61" <= character <= "\uff9f" or "\ue000" <= character <= "\uf8ff" or character < "\u2000":
            total -= 2  # half-width katakana, private use, or a letter of another script
        else:
            total += 1 if is_common(character.encode(encoding)) else -1
    return total / count if count else 0.0


def _lead(*ranges: tuple[int, int]) -> Callable[[bytes], bool]:
    """True for two bytes whose first is in a range: the rows where the standard put its common characters."""
    return lambda code: len(code) == 2 and any(low <= code[0] <= high for low, high in ranges)


_KANA = frozenset(chr(code) for code in (*range(0x3041, 0x3097), *range(0x30A1, 0x30FB)))
_CANDIDATES: tuple[tuple[str, frozenset[str], Callable[[bytes], bool]], ...] = (
    ("cp932", frozenset(_JAPANESE) | _KANA, _lead((0x88, 0x98))),
    ("euc_jp", frozenset(_JAPANESE) | _KANA, _lead((0xB0, 0xCF))),
    ("gb18030", frozenset(_SIMPLIFIED), lambda code: _lead((0xB0, 0xD7))(code) and code[1] >= 0xA1),
    ("big5hkscs", frozenset(_TRADITIONAL), _lead((0xA4, 0xC6))),
    ("cp949", frozenset(_KOREAN), lambda code: _lead((0xB0, 0xC8))(code) and code[1] >= 0xA1),
)

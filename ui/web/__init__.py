"""The web app: Streamlit pages over a node's HTTP API. It stores nothing and imports no model."""

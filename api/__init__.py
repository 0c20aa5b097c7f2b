"""FastAPI: routes translate HTTP into contracts and call one function."""

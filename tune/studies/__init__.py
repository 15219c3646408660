"""The study files shipped with seti-tune."""

"""Bytes to immutable messages and back: formats only, no behaviour, no state.

Every codec has the same shape: `decode_*(data)` returns a message or raises
`DecodeError`; `encode_*(message)` returns bytes. Messages are `msgspec.Struct`
with `frozen=True`: they cost a tenth of a frozen dataclass to build, and a
boot builds about 150 of them.
"""

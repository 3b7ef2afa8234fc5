"""Emulated Lync Phone Edition desk phones, by the fleet."""

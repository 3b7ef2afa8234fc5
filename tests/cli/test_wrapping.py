from phonesim.cli.wrapping import WIDTH, printable, wrapped


def test_lines_are_of_80_columns_and_begin_as_asked() -> None:
    lines = wrapped("word " * 40, "Why: ", "     ")
    assert lines[0].startswith("Why: word")
    assert all(line.startswith("     word") for line in lines[1:])
    assert max(map(len, lines)) <= WIDTH


def test_a_word_that_is_longer_stays_whole_unless_it_may_break() -> None:
    word = "x" * 100
    assert wrapped(f"see {word}") == ["see", f"  {word}"]
    assert max(map(len, wrapped(f"see {word}", breaks=True))) == WIDTH


def test_nothing_to_say_leaves_what_the_line_begins_with() -> None:
    assert wrapped("", "  0.2  display  ") == ["  0.2  display"]


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert printable("a\x1b[31m\u20ac") == "a\\x1B[31m\\x20AC"
    assert wrapped("a\x07b") == ["a\\x07b"]

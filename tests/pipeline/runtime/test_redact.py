"""What is shown without secrets: here a member's configuration without the addresses of its notices."""

import tomllib

import pytest

from pipeline.runtime.redact import without_commands

OTHERS = 'exchange = "mail"  # a folder\n\n[data]\nwebhook = "kept"\n'
NOTICES = [
    '[notify]\nwebhook = "https://chat.example/hooks/hidden"\nwaiting_s = 5.0\n',
    '[notify]\n# whom to tell: hidden\ncommand = ["tell", "--token=hidden"]  # hidden\nwaiting_s = 5.0',
    '[notify]\nwaiting_s = 5.0\ncommand = [\n  "tell", # ]\n  """--token\n= ["hidden"]""",\n]\n',
    '["notify"]\n"webhook" = "https://chat.example/hooks/\\u0068idden"\n"waiting_s" = 5.0\n',
]


@pytest.mark.parametrize("notices", NOTICES)
def test_command_and_webhook_are_blank(notices: str):
    """However they are written; every other line is as it was."""
    shown = without_commands(OTHERS + notices)
    assert shown.startswith(OTHERS)
    assert "hidden" not in shown
    assert "idden" not in shown
    before, after = tomllib.loads(OTHERS + notices), tomllib.loads(shown)
    assert after["notify"]["waiting_s"] == 5.0
    assert {key: after["notify"][key] or None for key in before["notify"]} == {
        key: None if key in ("command", "webhook") else value for key, value in before["notify"].items()
    }


@pytest.mark.parametrize(
    "top",
    [
        'notify.webhook = "https://chat.example/hidden"\nnotify.waiting_s = 5.0\n',
        'notify = { waiting_s = 5.0, webhook = "https://chat.example/hidden" }\n',
    ],
)
def test_at_the_top_of_the_file_too(top: str):
    """TOML has three ways to write a table."""
    shown = without_commands(top + OTHERS)
    assert shown.endswith(OTHERS)
    assert tomllib.loads(shown) == tomllib.loads(OTHERS) | {"notify": {"waiting_s": 5.0, "webhook": ""}}


def test_what_is_not_toml_is_left_out():
    """A file that somebody is editing shows nothing of it."""
    assert without_commands(OTHERS + '[notify]\ncommand = ["hidden",\n') == f"{OTHERS}[notify]\n"


@pytest.mark.parametrize(
    "keys",
    [
        '[keys]\npassphrase_command = ["vault", "--token=hidden"]\npassphrase_timeout_s = 5.0\n',
        '[keys]\npassphrase_timeout_s = 5.0\n"passphrase_command" = [\n  "vault", # hidden\n  "hidden",\n]\n',
    ],
)
def test_the_command_of_the_passphrase_is_blank(keys: str):
    """It may hold a token."""
    shown = without_commands(OTHERS + keys)
    assert "hidden" not in shown
    assert tomllib.loads(shown)["keys"] == {"passphrase_command": [], "passphrase_timeout_s": 5.0}


@pytest.mark.parametrize("comment", ['# passphrase_command = ["vault", "--token=hidden"]', "#webhook = 'hidden'"])
def test_a_setting_that_was_switched_off_is_left_out(comment: str):
    """Wherever it stands; other comments stay."""
    shown = without_commands(f"# mine\n{comment}\n{OTHERS}[keys] # hidden\n{comment}\n# hidden\n")
    assert "hidden" not in shown
    assert shown == f"# mine\n{OTHERS}[keys]\n"

"""Redaction of secrets in text: every error, every trial's row and every traceback goes through it."""

import os
import re
from collections.abc import Mapping
from urllib.parse import quote

HIDDEN = "***"
_WORDS = (
    r"(?:[\w-]*(?:secret|token|password|passwd|credential|signature|api[_-]?key|access[_-]?key|account[_-]?key)[\w-]*"
    r"|pwd|sig)"
)
_RULES = (
    # s3://KEY:SECRET@bucket; the secrets of AWS may have slashes.
    (re.compile(r"""(?<=://)[^\s'"]*:[^\s'"]*@|(?<=://)[^\s'"/@]+@"""), f"{HIDDEN}@"),
    # ?secret=…, AWS_SECRET_ACCESS_KEY=…, secret_key='…'
    (re.compile(rf"""(?i)\b({_WORDS}=)(?:'[^']*'|"[^"]*"|[^\s&;,'")\]]+)"""), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)([?&](?:key|auth)=)[^\s&;,'\")]+"), rf"\1{HIDDEN}"),
    # {'secret_key': '…'}, "token": "…"
    (re.compile(rf"""(?i)(['"]{_WORDS}['"]\s*:\s*)(?:'[^']*'|"[^"]*")"""), rf"\1'{HIDDEN}'"),
    (re.compile(r"(?i)\b(authorization:\s*\w+|bearer)\s+[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    # Keys that are known by their form: AWS, Hugging Face, GitHub, GitLab, and tokens of our own service.
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\b(?:hf_|gh[opsu]_|github_pat_|glpat-|kds_)[\w-]{16,}"), HIDDEN),
)
_SECRET_VARIABLE = re.compile(r"SECRET|TOKEN|PASSWORD|ACCESS_KEY|API_KEY", re.IGNORECASE)
_NAMES_A_LOCATION = re.compile(r"_(PATH|FILE|DIR|URL|URI)$", re.IGNORECASE)
_SHORTEST = 8
"""A shorter value of a variable is no secret worth the name, and may be part of any word."""


def redacted(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return text with `***` for what must not be shown.

    Those are user names and passwords in URLs, values of parameters that are called secret, token, password, key or
    signature, keys that are known by their form, and whatever the environment has in such variables.
    """
    for value in secret_variables(environment).values():
        text = text.replace(value, HIDDEN).replace(quote(value, safe=""), HIDDEN)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def secret_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables whose values are secrets: what `redacted` needs of an environment that does not change."""
    return {
        name: value
        for name, value in environment.items()
        if len(value) >= _SHORTEST and _SECRET_VARIABLE.search(name) and not _NAMES_A_LOCATION.search(name)
    }

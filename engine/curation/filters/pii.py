"""pii: personal data that may reach somebody: mail addresses, phone numbers, IP addresses, card numbers.

Covers: mail addresses that could be delivered to (email-validator, syntax only), phone numbers valid in international
form or in the national form of `regions` (phonenumbers, Google's rules), public IPv4 and IPv6 addresses, and card
numbers of the big networks whose Luhn checksum is right.
Does not cover: names, street addresses, identity numbers; spelled-out or split data; addresses set aside for examples
(example.com, private and documentation networks), and short numbers such as 112.
Default: query and answer are looked at; `regions` US. Evidence is masked, so that no report shows the data.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from engine.curation.filters.base import Drop, Filter, Row, query, require, response
from engine.curation.filters.text import SCAN

_MAIL = re.compile(r"[\w.+%'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")
_EXAMPLE = re.compile(r"(?:^|\.)example\.(?:com|net|org|edu)$")
_VERSION = re.compile(
    r"(?:version|release|firmware|build|chapter|section|clause|paragraph|ver|rev|v|§|no)\.?\s*:?\s*$", re.IGNORECASE
)
_IP4 = re.compile(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)")
_IP6 = re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{1,4}(?![\w:])")
_CARD = re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w-]|\.\d)")
_NETWORK = re.compile(r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]|2[2-7]|35|62|65)\d{14}|6011\d{12}|3[47]\d{13}|3[068]\d{12}")
_PHONE = re.compile(r"\+?\d[\d ()./-]{6,20}\d|\(\d{2,5}\)[\d ./-]{4,14}\d")


def pii(regions: tuple[str, ...] = ("US",), in_query: bool = True) -> Filter:
    """`regions`: ISO countries whose national phone numbers count; `in_query`: look at the query as well."""
    import phonenumbers

    require("regions", set(regions) <= phonenumbers.SUPPORTED_REGIONS, "two-letter codes such as US or DE")

    def run(row: Row) -> Drop | None:
        for where, text in (("answer", response(row)), ("query", query(row) if in_query else "")):
            found = next(_found(text[:SCAN], regions), None)
            if found is not None:
                return Drop("pii", f"{found[0]} in the {where}: {_masked(found[1])}")
        return None

    return run


def _found(text: str, regions: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if "@" in text:
        yield from (("mail", match) for match in _MAIL.findall(text) if _deliverable(match))
    if not any(map(text.__contains__, "0123456789")):
        return
    if text.count(".") >= 3:
        for match in _IP4.finditer(text):
            if _public(match.group()) and not _VERSION.search(text[: match.start()][-12:]):
                yield "IP address", match.group()
    if text.count(":") >= 2:
        # From nine characters on: "[::2]" is a slice.
        yield from (("IP address", match) for match in _IP6.findall(text) if len(match) > 8 and _public(match))
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if _NETWORK.fullmatch(digits) and luhn(digits):
            yield "card number", match.group()
    if _PHONE.search(text):
        yield from (("phone number", number) for number in _phones(text, regions))


def _phones(text: str, regions: tuple[str, ...]) -> Iterator[str]:
    from phonenumbers import PhoneNumberMatcher

    for region in regions or (None,):
        found = (match.raw_string for match in PhoneNumberMatcher(text, region, max_tries=100))
        yield from (number for number in found if not number.isdigit())  # bare digits may be an order number


def _deliverable(address: str) -> bool:
    from email_validator import EmailNotValidError, validate_email

    try:
        return not _EXAMPLE.search(validate_email(address.strip("'."), check_deliverability=False).ascii_domain)
    except (EmailNotValidError, UnicodeError):
        return False


def _public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B: every second digit from the right doubled, digit sums, a multiple of ten."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[::-2])) + sum(doubled)) % 10 == 0


def _masked(found: str) -> str:
    return re.sub(r"\w", "•", found[2:]).join((found[:2], ""))

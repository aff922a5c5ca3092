"""How much of what comes from outside is read, kept and believed. Far above what Okta sends.

A server that sends more is none of Okta's, or is broken. Nothing here depends on what it says.
"""

from __future__ import annotations

# Bodies, in bytes, after they are decompressed
KEY_BODY = 256 * 1024  # one key, request or org; a key with its certificate has 2 KB
SIGNER_BODY = 2 * 1024 * 1024  # one app or identity provider, whole; or the metadata of one
KEYS_BODY = 4 * 1024 * 1024  # all keys of an app
LIST_BODY = 16 * 1024 * 1024  # a page of 200 apps is about half a megabyte
ERROR_BODY = 256 * 1024  # what is beyond it is not read, and the status alone tells

# Headers; aiohttp counts a line with its name
LONGEST_HEADER = 8190  # bytes
MOST_HEADERS = 128

# Lists
MOST_PAGES = 5_000
MOST_ENTRIES = 500_000
LONGEST_QUERY = 4_096  # characters of the address of a next page

# Values of JSON, told by their braces and commas: each takes up to a hundred times its bytes
MOST_OBJECTS, MOST_VALUES = 200_000, 1_000_000  # 1000 events of the log have 30 000 and 150 000
SIGNER_OBJECTS, SIGNER_VALUES = 20_000, 100_000  # one app has some dozens and some hundreds

# Texts, in characters; of what is longer the beginning is kept
LONGEST_TEXT = 1_000  # of a label, or of an error; Okta's labels have at most 255
MOST_CAUSES = 20
MOST_ESCAPES = 100_000  # in a body that is read a second time, more leniently
LONGEST_ID = 128
LONGEST_X5C = 64 * 1024  # of one certificate

# Times of the org's
LONGEST_WINDOW = 3_600  # seconds of a rate limit; Okta's have 60
DATES = (946_684_800, 7_258_118_400)  # epoch seconds: the years 2000 to 2199

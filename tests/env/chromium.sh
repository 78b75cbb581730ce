#!/bin/sh
# A Chromium for the tests of the report: one that is there, playwright's own, or the distribution's (as root).
# None of them is no failure: those tests then skip, and say so.
find_it() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
if [ -n "$ECSO_CHROMIUM" ] || find_it >/dev/null; then exit 0; fi
if timeout 120 .venv/bin/python -m playwright install chromium >/dev/null 2>&1; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-liberation) >/dev/null 2>&1
fi
find_it >/dev/null || echo "no Chromium was found or could be installed: the browser tests of the report will skip"
exit 0

"""What a worker knows of the rows that were finished: its own ones, those of its dead self, and copies of either."""

from __future__ import annotations

from engine.answering import failed
from engine.errors import RowError
from engine.journal.convert import check_transcript
from engine.journal.frames import key_digest
from engine.journal.index import done as journal_done
from engine.journal.segments import JournalWriter
from engine.planning import WorkerSetup
from engine.types import Query, Transcript
from pipelines.blocks import Ack


class Ledger:
    """A worker's journal segments and an index of them. Used on the worker's loop alone, but for `writer.flush`."""

    def __init__(self, setup: WorkerSetup, worker_id: str, restarted: bool) -> None:
        """`restarted`: the worker gets the blocks of its dead self again; what is in the journal is not asked twice."""
        self.writer = JournalWriter(setup.out, worker_id)
        self._setup = setup
        self._mine: dict[bytes, bytes] = {}
        self._noted: set[bytes] = set()
        self._before = journal_done(setup.out, retry_errors=setup.retry_errors) if restarted else None

    def standing(self, query: Query) -> str | None:
        """`again`: this very row is in the journal; `duplicate`: its content is, under another key; None: neither."""
        key = key_digest(query.source_key)
        first = self._mine.get(bytes.fromhex(query.query_id[:32]))
        if first is not None:
            return "again" if key == first or key in self._noted else "duplicate"
        if self._before is not None and self._before.has_id(query.query_id):
            return "again" if self._before.has_key(query.source_key) else "duplicate"
        return None

    def note(self, query: Query) -> Ack:
        """That this source row repeats another one."""
        self.writer.append_duplicate(query.query_id, query.source_key, query.source_index)
        self._noted.add(key_digest(query.source_key))
        return Ack(query.query_id, "duplicate")

    def keep(self, query: Query, transcript: Transcript) -> Ack:
        """Into the journal, then acknowledged; never the other way round."""
        try:
            self._check(transcript)
            self.writer.append(transcript)
        except RowError as error:
            # A strategy or backend made a row that breaks the contract: its error is kept instead.
            transcript = failed(query, self._setup.facts, "contract", error)
            self.writer.append(transcript)
        self._mine[bytes.fromhex(query.query_id[:32])] = key_digest(query.source_key)
        return ack_of(transcript)

    def keep_with_pictures(self, query: Query, transcript: Transcript) -> Ack:
        """The same, after the pictures that it speaks of."""
        for picture in query.pictures:
            self.writer.add_picture(picture)
        return self.keep(query, transcript)

    def _check(self, transcript: Transcript) -> None:
        if int(transcript.query_id[:8], 16) < self._setup.check_share * 2**32:
            check_transcript(transcript)


def ack_of(transcript: Transcript) -> Ack:
    """What the driver needs to know of a finished row."""
    steps = transcript.steps
    return Ack(
        query_id=transcript.query_id,
        state=transcript.status,
        direct_verdict=transcript.direct_verdict,
        final_verdict=transcript.final_verdict,
        accepted=transcript.status == "ok" and bool(transcript.final_response),
        calls=len(steps),
        prompt_tokens=sum(step.prompt_tokens or 0 for step in steps),
        cached_tokens=sum(step.cached_tokens or 0 for step in steps),
        completion_tokens=sum(step.completion_tokens or 0 for step in steps),
        error_type=transcript.error_type,
        error_message=transcript.error_message,
    )

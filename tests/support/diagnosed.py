"""What `why` says of invented records, in pieces."""

from __future__ import annotations

from core.diagnosis.diagnosis import Diagnosis, diagnose
from core.wording.diagnosis import diagnosis_rows
from tests.support.recorded_lineage import Records


def told(records: Records, job_id: int) -> Diagnosis:
    return diagnose(records.home, records.connection, job_id)


def codes(found: Diagnosis, certainty: str | None = None) -> set[str]:
    return {cause.code for cause in found.causes if certainty in (None, cause.certainty)}


def seen(found: Diagnosis) -> set[str]:
    return {one.code for of in found.symptoms for one in of.symptoms if of.job is not None}


def words(found: Diagnosis) -> str:
    return "\n".join(f"{row.gutter}{row.text}" for row in diagnosis_rows(found))

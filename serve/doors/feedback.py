"""What operators decided about the model's work: taken in one by one, handed out as JSON lines for training."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from serve.access import Scope
from serve.cases.values import stable_id
from serve.context import Here
from serve.doors.guard import needs
from serve.doors.once import Key, once
from serve.doors.values import Moment, Text
from serve.errors import InvalidInputError
from serve.store import feedback
from serve.store.answers import Answer
from serve.store.database import Desk
from serve.store.feedback import Decision
from vision.taxonomy import CLASS_IDS, CLASSES

router = APIRouter(prefix="/v1/feedback", tags=["feedback"])

NDJSON = "application/x-ndjson"
Id = Annotated[str, Field(pattern="^[0-9a-z]{1,40}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Feedback(BaseModel):
    """A decision about boxes in evidence pictures: those of a case or a sighting, in all its pictures or in one.

    `confirm`: the thing is there. `reject`: no thing of that class is there; of other classes it says nothing.
    `reclass`: a thing of another class is there. `move`: it is there, but the box belongs elsewhere.
    """

    model_config = ConfigDict(extra="forbid")

    verdict: Literal["confirm", "reject", "reclass", "move"]
    case: Id | None = Field(None, description="Id of a case.")
    sighting: Id | None = Field(None, description="Id of a sighting.")
    evidence: Id | None = Field(None, description="Id of one evidence picture; needed for `move`.")
    class_name: str | None = Field(None, alias="class", description=f"For `reclass`: one of {', '.join(CLASSES)}.")
    box: tuple[Finite, Finite, Finite, Finite] | None = Field(
        None, description="For `move`: x_min, y_min, x_max, y_max in pixels of the evidence picture."
    )
    by: Text = Field(min_length=1, max_length=100, description="Who decided.")
    at: Moment | None = Field(None, description="When; now without it.")
    reason: Text = Field("", max_length=2000)

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.case is None and self.sighting is None:
            raise ValueError("name a case or a sighting")
        if (self.class_name is not None) != (self.verdict == "reclass"):
            raise ValueError("`class` belongs to `reclass`, and `reclass` needs it")
        if self.class_name is not None and self.class_name not in CLASS_IDS:
            raise ValueError(f"`class` is one of {', '.join(CLASSES)}")
        if (self.box is not None) != (self.verdict == "move"):
            raise ValueError("`box` belongs to `move`, and `move` needs it")
        if self.verdict == "move" and self.evidence is None:
            raise ValueError("`move` needs `evidence`: a box belongs to one picture")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError("`box` is x_min, y_min, x_max, y_max with x_min < x_max and y_min < y_max")
        return self


class FeedbackReceipt(BaseModel):
    """The acknowledgement of a decision: it is durable."""

    id: str
    boxes: int = Field(description="How many boxes it is about.")
    recorded_at: AwareDatetime


@router.post(
    "",
    dependencies=[needs(Scope.FEEDBACK_WRITE)],
    status_code=201,
    response_model=FeedbackReceipt,
)
def decide(said: Feedback, request: Request, here: Here, idempotency_key: Key = None) -> Response:
    """Record a decision; the same Idempotency-Key again changes nothing and gives the same answer."""
    now = datetime.now(UTC)
    decision = Decision(
        id=stable_id("d", here.caller.reach.jurisdiction, uuid.uuid4()),
        request_sha256=hashlib.sha256(said.model_dump_json(by_alias=True).encode()).hexdigest(),
        verdict=said.verdict,
        actor=said.by,
        reason=said.reason,
        decided_at=said.at or now,
        recorded_at=now,
        new_class=said.class_name,
        new_box=said.box,
    )

    def record(desk: Desk) -> Answer:
        boxes = feedback.judged(desk, said.case, said.sighting, said.evidence)
        _check(said, boxes)
        rows = feedback.record(desk, decision, boxes)
        receipt = FeedbackReceipt(id=decision.id, boxes=len(rows), recorded_at=now)
        return Answer(201, receipt.model_dump(mode="json"))

    return once(here, request, idempotency_key, said, record)


def _check(said: Feedback, boxes: list[dict[str, Any]]) -> None:
    if said.box is None:
        return
    if len(boxes) > 1:
        raise InvalidInputError(
            f"{len(boxes)} boxes of the case are in this picture", remedy="name the sighting whose box moves"
        )
    x_min, y_min, x_max, y_max = said.box
    if x_min < 0 or y_min < 0 or x_max > boxes[0]["width"] or y_max > boxes[0]["height"]:
        size = f"{boxes[0]['width']}×{boxes[0]['height']}"
        raise InvalidInputError("the box leaves the picture", remedy=f"the evidence picture has {size} pixels")


@router.get(
    "", dependencies=[needs(Scope.FEEDBACK_READ)], response_class=Response, responses={200: {"content": {NDJSON: {}}}}
)
def export(
    request: Request,
    here: Here,
    since: Annotated[Moment | None, Query(description="Recorded at or after.")] = None,
    cursor: Annotated[int, Query(ge=0, le=2**63 - 1, description="From the link to the next page.")] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> Response:
    """Decisions in the order they came, one JSON object per line and box; the header Link leads to the next page."""
    with here.reading() as desk:
        rows, more = feedback.export(desk, since, cursor, limit)
    headers = {}
    if more:
        following = request.url.include_query_params(cursor=rows[-1]["id"])
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return Response("".join(_lines(rows)), media_type=NDJSON, headers=headers)


def _lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        line = {
            "cursor": row["id"],
            "decision": row["decision_id"],
            "verdict": row["verdict"],
            "case": row["case_id"],
            "sighting": row["sighting_id"],
            "patrol": row["patrol_id"],
            "evidence": row["evidence_id"],
            "url": f"/v1/evidence/{row['evidence_id']}.jpg",
            "picture_sha256": row["picture_sha256"],
            "width": row["width"],
            "height": row["height"],
            "person_over_evidence": row["person_over_evidence"],
            "taken_at": row["taken_at"],
            "model": row["model"],
            "class": row["class_name"],
            "score": row["score"],
            "box": row["box"],
            "new_class": row["new_class"],
            "new_box": row["new_box"],
            "by": row["actor"],
            "reason": row["reason"],
            "decided_at": row["decided_at"],
            "recorded_at": row["recorded_at"],
        }
        yield json.dumps(jsonable_encoder(line), ensure_ascii=False) + "\n"

"""Lines say who and why, with times from the first symptom; the same values go to machines."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.decision import Ask, CallPerson, Decision, Hold, Move, Rejoin
from evac.core.news import DecisionNews, News, RunNews, VerdictNews
from evac.core.plan import RunKind, Step, Verb
from evac.core.protection import NOBODY, Protect
from evac.core.run import Done, Failed, Failure, Opened, Outcome, Receipt, Resumed, RunId, Settled
from evac.core.targets import Rejected
from evac.core.traffic import Shift
from evac.core.verdict import Diagnosis, Evidence, Status, Verdict
from evac.report import sentences
from evac.report.lines import Line, Speaker, Word, event_lines, run_lines
from fakes.journals import DB, E1, EU, JOURNALS, SHOP, W2, WALL, at, failover, failover_plan, step

DOWN = Verdict(
    region=E1,
    diagnosis=Diagnosis.UNREACHABLE,
    status=Status.FAILED,
    availability=0.0,
    since=at(1.2),
    symptom_at=at(0),
    heartbeat_age=timedelta(seconds=2.1),
    evidence=(
        Evidence(vantage=EU, view="down", votes=True, why="3 of 3 services fail"),
        Evidence(vantage=W2, view="down", votes=False, why="silent for 4 s"),
    ),
)
MOVE = Move(
    group=SHOP,
    kind=RunKind.FAILOVER,
    source=E1,
    target=W2,
    reasons=("us-east-1 unreachable", "us-west-2 scores 0.93"),
    rejected=(Rejected(region=EU, reason="19 kB behind"),),
    symptom_at=at(0),
)


SHIFT = Shift(
    group=SHOP,
    source=E1,
    target=W2,
    reasons=("only the way in fails",),
    rejected=(Rejected(region=EU, reason="is far"),),
)


def test_a_line_has_its_time_its_word_and_its_text() -> None:
    line = Line(at=at(1.512), since=at(0), word=Word.SEEN, text="us-west-2 misses 3 of 3", run=RunId("7"))
    assert str(line) == "    1.512  seen      us-west-2 misses 3 of 3"
    assert json.loads(json.dumps(line.plain())) == {
        "at_s": 5001.512,
        "since_symptom_s": 1.512,
        "word": "seen",
        "text": "us-west-2 misses 3 of 3",
        "run": "7",
    }


def test_a_run_that_is_taken_up_ends_with_what_it_achieved_from_its_beginning() -> None:
    journal = failover()
    speaker = Speaker()
    (plan,) = speaker.tell(RunNews(at=journal[0].at, run=RunId("7"), event=journal[0], already=journal[1:8]))
    assert plan.word is Word.PLAN
    later = [line for e in journal[8:] for line in speaker.tell(RunNews(at=e.at, run=RunId("7"), event=e))]
    assert [str(line) for line in later] == [str(line) for line in run_lines(journal)][-len(later) :]
    assert "RTO 2.01 s" in next(line.text for line in later if line.word is Word.DONE)


def test_news_become_lines_from_the_first_symptom_on() -> None:
    speaker = Speaker()
    journal = failover()
    news: list[News] = [
        VerdictNews(at=at(1.53), verdict=DOWN, before=None),
        DecisionNews(at=at(1.531), decision=MOVE),
        *(RunNews(at=e.at, run=RunId("7"), event=e) for e in journal),
    ]
    said = [str(line) for one in news for line in speaker.tell(one)]
    assert said[:4] == [
        "    1.530  seen      eu-west-1: 3 of 3 services fail · us-west-2: silent for 4 s (no vote)",
        "    1.530  verdict   us-east-1 unreachable: 1 of 2 outside views agree, its agent silent for 2.10 s",
        "    1.531  decision  fail over shop to us-west-2, automatic: us-east-1 unreachable; us-west-2 scores 0.93."
        " eu-west-1 rejected: 19 kB behind",
        "    1.531  plan      10 steps, term 7, pivot: promote orders-db. shop-lb in us-east-1 cannot be reached: it is"
        " mended when the region answers",
    ]
    assert said[4:] == [str(line) for line in run_lines(journal)[4:]]


def test_news_of_a_run_nobody_has_heard_the_beginning_of_are_no_lines() -> None:
    assert Speaker().tell(RunNews(at=at(2), run=RunId("7"), event=failover()[-1])) == ()


@pytest.mark.parametrize("diagnosis", Diagnosis)
def test_every_diagnosis_is_said(diagnosis: Diagnosis) -> None:
    verdict = replace(DOWN, diagnosis=diagnosis, heartbeat_age=None)
    lines = Speaker().tell(VerdictNews(at=at(1), verdict=verdict, before=None))
    assert lines[-1].word is Word.VERDICT
    assert lines[-1].text.startswith("us-east-1 ")


@pytest.mark.parametrize(
    ("decision", "says"),
    [
        (Hold(group=SHOP, reasons=("us-east-1 is well",)), "shop: nothing to do: us-east-1 is well"),
        (Hold(group=SHOP, reasons=("dwell",), watching=True), "shop: watch: dwell"),
        (
            Ask(group=SHOP, move=MOVE, reasons=("asks first",)),
            "shop waits for a person's word to fail over to us-west-2",
        ),
        (
            SHIFT,
            "send clients of shop in by us-west-2, automatic: only the way in fails. eu-west-1 rejected: is far",
        ),
        (
            Ask(group=SHOP, move=SHIFT, reasons=("asks first",)),
            "shop waits for a person's word to send clients in by us-west-2",
        ),
        (CallPerson(group=SHOP, reasons=("no target",)), "shop needs a person: no target"),
        (Rejoin(group=SHOP, region=E1, reasons=("answers again",)), "rebuild us-east-1 as a standby of shop"),
        (
            Protect(group=SHOP, component=DB, region=E1, sync=NOBODY, reasons=("it is alone",), decided_by="alice"),
            "protect shop, asked by alice: it is alone",
        ),
        (replace(MOVE, decided_by="alice"), "fail over shop to us-west-2, asked by alice"),
    ],
)
def test_every_decision_is_said(decision: Decision, says: str) -> None:
    (line,) = Speaker().tell(DecisionNews(at=at(1), decision=decision))
    assert line.text.startswith(says)


@pytest.mark.parametrize("verb", Verb)
def test_every_verb_is_said_even_with_no_facts(verb: Verb) -> None:
    one: Step = step(verb, DB, W2, failover_plan().steps[0].phase)
    text = sentences.done(one, Receipt(kind=verb.value))
    assert "orders-db in us-west-2" in text
    assert "None" not in text


@pytest.mark.parametrize("failure", Failure)
def test_a_failure_says_whether_anything_happened(failure: Failure) -> None:
    plan = failover_plan()
    first = failover()[0]
    assert isinstance(first, Opened)
    event = Failed(at=at(2), step=plan.steps[0].id, attempt=1, failure=failure, reason="why")
    (line,) = event_lines(event, before=[first])
    assert "happened" in line.text
    assert line.text.endswith(": why")


def test_a_run_that_goes_back_goes_on_elsewhere_or_ends_is_said() -> None:
    first = failover()[0]
    assert isinstance(first, Opened)
    undone = Done(at=at(2), step=failover_plan().steps[0].id, attempt=1, receipt=Receipt(kind="refuse"), undo=True)
    assert event_lines(undone, before=[first])[0].text == "undone: refuse of orders-db in us-west-2"
    resumed = Resumed(at=at(2), wall=WALL, term=first.plan.term, by="ops-2")
    assert event_lines(resumed, before=[first])[0].text == "run 7 goes on under ops-2, term 7"
    for outcome in Outcome:
        last, then = event_lines(Settled(at=at(3), wall=WALL, outcome=outcome, reasons=("why",)), before=[first])
        assert last.word is (Word.STUCK if outcome is Outcome.STUCK else Word.DONE)
        assert last.text.endswith(": why")
        assert then.text == "report: evac report 7"


@pytest.mark.parametrize("name", JOURNALS)
def test_times_never_run_backwards(name: str) -> None:
    times = [line.at for line in run_lines(JOURNALS[name])]
    assert times == sorted(times)

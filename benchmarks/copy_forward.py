"""Shows what reading repeated passages once is worth, on invented charts whose notes copy forward.

    python benchmarks/copy_forward.py -o benchmarks/results/copy-forward.json

In a study of 104 million notes 50 % of the text was copied from an earlier note of the patient
(Steinkamp et al., JAMA Netw Open 2022;5(9):e2233348). Charts here are made so: a visit brings a new
story, takes over history, allergies and most of the plan, and changes a line of the medications now
and then. `extract` reads them with --reuse and --no-reuse in turn; both must write the same bytes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from throughput import machine

from clin_edge.runtime.pipeline import open_default_or

COMPLAINTS = (
    "chest tightness,dizziness,a dry cough,swollen ankles,back pain,poor sleep,palpitations"
)
COURSES = (
    "since yesterday,for three days,for two weeks,on and off since spring,after meals,at night"
)
DENIALS = (
    "fever,chills,weight loss,vomiting,shortness of breath,rash,headache,blurred vision,syncope"
)
PAST = (
    "Hypertension since 2009.|Type 2 diabetes mellitus with neuropathy.|Paroxysmal atrial "
    "fibrillation.|Chronic kidney disease stage 3.|Gout.|Hypothyroidism.|Osteoarthritis of both "
    "knees.|Gastroesophageal reflux disease.|Mild asthma.|Depression, in remission.|Iron "
    "deficiency anemia.|Appendectomy as a child.|Cataract surgery, right eye.|Enlarged prostate."
)
DRUGS = (
    "lisinopril 10 mg daily|metformin 500 mg twice daily|apixaban 5 mg twice daily|allopurinol 100 "
    "mg daily|levothyroxine 75 mcg every morning|omeprazole 20 mg before breakfast|albuterol "
    "inhaler as needed|sertraline 50 mg daily|ferrous sulfate 325 mg daily|tamsulosin 0.4 mg at "
    "bedtime|atorvastatin 40 mg at bedtime|furosemide 20 mg daily|metoprolol 25 mg twice daily"
)
ALLERGIES = "No known drug allergies.|Penicillin (rash).|Sulfa drugs (hives).|Codeine (nausea)."
PLANS = (
    "Continue {drug}; recheck in three months.|Basic metabolic panel today.|Encouraged to walk for "
    "half an hour on most days.|Diet reviewed, less salt.|Eye examination is due.|Influenza "
    "vaccine given.|Call if {complaint} comes back or gets worse.|Echocardiogram ordered.|Home "
    "blood pressure log to be brought along."
)
EXAM = (
    "EXAMINATION:\nGeneral: alert, in no distress. Neck: supple, no bruits. Lungs: clear on both "
    "sides, no wheezes. Heart: regular, no murmur. Abdomen: soft, not tender, no masses. "
    "Extremities: {edema}. Neurologic: no focal deficit. Skin: no rash."
)


def charts(n_patients: int, n_visits: int, *, seed: int = 0) -> list[dict[str, str]]:
    """Make the notes, patient by patient, in the order of visits."""
    rng = Random(seed)
    notes = []
    for patient in range(n_patients):
        past = rng.sample(PAST.split("|"), rng.randint(3, 7))
        drugs = rng.sample(DRUGS.split("|"), rng.randint(3, 7))
        allergy = rng.choice(ALLERGIES.split("|"))
        plan: list[str] = []
        age = rng.randint(30, 88)
        for visit in range(n_visits):
            complaint = rng.choice(COMPLAINTS.split(","))
            story = " ".join(
                f"{rng.choice(['He', 'She', 'The patient'])} {verb} {thing} {course}."
                for verb, thing, course in zip(
                    rng.choices(["reports", "mentions", "describes", "complains of"], k=5),
                    [complaint, *rng.choices(COMPLAINTS.split(","), k=4)],
                    rng.choices(COURSES.split(","), k=5),
                    strict=True,
                )
            )
            denied = ", ".join(rng.sample(DENIALS.split(","), 4))
            if rng.random() < 0.3:
                drugs[rng.randrange(len(drugs))] = rng.choice(DRUGS.split("|"))
            if rng.random() < 0.1:
                past.append(rng.choice(PAST.split("|")))
            new = rng.choice(PLANS.split("|")).format(drug=drugs[0], complaint=complaint)
            plan = [*plan[-4:], new]
            sections = [
                f"PROGRESS NOTE\nVisit {visit + 1}, age {age}. Blood pressure "
                f"{rng.randint(105, 168)}/{rng.randint(58, 98)}, pulse {rng.randint(52, 104)}.",
                f"HISTORY OF PRESENT ILLNESS:\n{story} Denies {denied}.",
                "PAST MEDICAL HISTORY:\n" + "\n".join(f"- {line}" for line in past),
                "MEDICATIONS:\n" + "\n".join(f"{i}. {d}" for i, d in enumerate(drugs, 1)),
                f"ALLERGIES: {allergy}",
                EXAM.format(edema=rng.choice(["no edema", "no edema", "trace edema"])),
                "ASSESSMENT AND PLAN:\n" + "\n".join(f"- {line}" for line in plan),
            ]
            notes.append({"id": f"{patient:04}-{visit:02}", "text": "\n\n".join(sections)})
    return notes


def repeated_share(notes: list[dict[str, str]]) -> float:
    """Give the share of characters in paragraphs that stood in an earlier note."""
    seen: set[str] = set()
    total = repeated = 0
    for note in notes:
        paragraphs = note["text"].split("\n\n")
        total += sum(map(len, paragraphs))
        repeated += sum(len(p) for p in paragraphs if p in seen)
        seen.update(paragraphs)
    return repeated / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=30)
    parser.add_argument("--visits", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bundle")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    here = machine()
    notes = charts(args.patients, args.visits)
    orders = {"patient by patient": notes, "by visit": sorted(notes, key=lambda n: n["id"][5:])}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for order, given in orders.items():
            source = folder / "notes.jsonl"
            source.write_text("".join(json.dumps(note) + "\n" for note in given))
            seconds: dict[str, list[float]] = {"--reuse": [], "--no-reuse": []}
            for _ in range(args.rounds):
                for option, taken in seconds.items():
                    taken.append(extract(source, folder / option, option, args.bundle))
                same = (folder / "--reuse").read_bytes() == (folder / "--no-reuse").read_bytes()
                if not same:
                    sys.exit("records differ")
            words = sum(len(note["text"].split()) for note in given)
            middle = {option: statistics.median(taken) for option, taken in seconds.items()}
            rows.append(
                {
                    "order": order,
                    "words": words,
                    "repeated_share_of_characters": round(repeated_share(given), 3),
                    "words_per_s": {o: round(words / s, 1) for o, s in middle.items()},
                    "times_as_fast": round(middle["--no-reuse"] / middle["--reuse"], 2),
                    "records": "the same bytes",
                }
            )
            print(rows[-1], flush=True)
    results = {"machine": here, "bundle": open_default_or(args.bundle).id, "notes": len(notes)}
    results |= {"rounds": args.rounds, "runs": rows}
    args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def extract(source: Path, out: Path, option: str, bundle: str | None) -> float:
    """Extract in a process of its own; give its wall time in seconds."""
    command = [sys.executable, "-m", "clin_edge", "extract", str(source), "-o", str(out), option]
    command += ["--bundle", bundle] if bundle else []
    started = time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

"""What may be an item of a medication line, and whether it stands by itself.

Most words here mean other things elsewhere in a note. What stands right before and after decides:
some items are refused there, some are *sure* (they are marked wherever they stand and begin a
region), the rest wait for a sure neighbour.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from clin_edge.distill.teachers.sig.grammar import ITEM

_SIGHT = 32  # characters looked at on either side
_LINE_SIGHT = 50  # and before a frequency, for what is done that often
_MAX_TAKEN = 10  # more tablets than this at once are what the pharmacy hands out


@dataclass(frozen=True, slots=True)
class Item:
    """A piece of the note with the label it would bear; ``kind`` is the grammar's group."""

    start: int
    end: int
    kind: str
    label: str
    sure: bool = False


# Endings of drugs' names; the second list only where the place asks for a drug already.
_SURE_ENDING = (
    "cillin|[mv]ycin|micin|floxacin|cycline|azole|lol|pril|sartan|statin|azepam|azolam|asone|isone"
    "|solone|mab|nib|vir|parin|farin|prazole|tidine|dipine|semide|platin|bactam|penem|codone"
    "|morphone|formin|terol|phylline|caine|nyl|xone|pidem|rubicin|trexate"
)
_ENDING = "ine|ole|ide|one|ate|cin|min|pam|lam|xel|rin|tal|xin|fen|oin|tan|ium|ene|nol"
_CLASS = (
    r"antibiotics?|\w{0,9}steroids?|anti(?:fungal|viral|histamine|emetic|coagulant)s?|insulin"
    r"|fluids?|hydration|analgesics?|narcotics?|opioids?|diuretics?|contraceptives?|medications?"
    r"|meds?|drugs?|chemotherapy|hypoglycemics?|nsaids?|iron|lasix|versed|benadryl|zofran|ativan"
    r"|ancef|demerol|saline|magnesium|potassium|immunoglobulins?"
)
_SURE_DRUG = rf"(?!cholesterol)(?:\w{{2,18}}(?:{_SURE_ENDING})|{_CLASS})(?!\w)"
_DRUG = rf"(?:\w{{2,18}}(?:{_SURE_ENDING}|{_ENDING})|{_CLASS})(?!\w)"
_NEVER_DRUG = r"(?:examine|hygiene|membrane|urine|line|spine|bone|urate|determine|time|saline lock)"
_DRUG_NEXT = re.compile(rf" (?!{_NEVER_DRUG}){_DRUG}(?! (?:ab)?use)")
_GIVING = re.compile(r" [\w-]{3,20}(?: [\w-]{3,20})? (?:therapy|administration|treatment)(?!\w)")
_OF_DRUG = re.compile(rf"(?: of)?(?: (?!and )[\w-]{{2,15}})? (?:iv )?{_DRUG}")
_DRUG_JUST_BEFORE = re.compile(
    rf"(?<!\w){_SURE_DRUG}(?:,? (?:was|were|is|as|given|administered)){{0,2}} $"
)
_DRUG_SHORTLY_BEFORE = re.compile(rf"(?<!\w){_SURE_DRUG}(?: [a-z-]{{2,12}})?,? $")
_STOPPED = re.compile(
    r"(?<!\w)(?:off|stop\w{0,4}|held|holding|without|noncomplian\w|not|discont\w+) "
)
_JUST_GIVEN = re.compile(r"(?:given|administered|infused|receiv(?:ed|ing)) $")
_NAME_NEXT = re.compile(r" [A-Z][a-z]{3,}")

_MEASURED = re.compile(
    r"(?<!\w)(?:protein|albumin|creatinine|bilirubin|cholesterol|triglycerides?|ldl|hdl|bun|sugars?"
    r"|glucose|co2|hco3|levels?|trough|peak|measur\w{2,3}|\w{0,5}weigh\w{0,4}|concentrations?|titers?)"
    r"(?: (?:of|was|is|at|were|about)| and found to be){0,2}[ :=]{0,3}$"
)
_LAB = re.compile(r"(?:/| per ) ?(?:[\d.]+ ?)?(?:dl|l|liter|mm|g)(?!\w)")
_NOT_MASS = re.compile(
    r"[ -]{0,2}(?:%|(?:low[ -])?(?:sodium|salt|protein|carb\w{0,12}|fat|fiber|potassium"
    r"|cholesterol)(?: restrict\w{0,4})?,? (?:diet|restrict)|diet|carb|equivalent"
    r"|(?:spinal )?needles?|gauge"
    r"|angiocath\w{0,4}|catheter|monofilament|prostate|uterus|placenta|fetus|infant|male|female"
    r"|baby|specimen)"
)
_GRAMS = re.compile(r"(?<![a-zµ])(?:g|gms?|grams?)$")
_MAX_GRAMS = 20.0  # more is an organ's or a child's weight
_TIME_RATE = re.compile(
    r"(?:/| per ) ?(?:[\d.]+ ?)?(?:d|day|h|hr|hour|min|minute|wk|week|month)(?!\w)"
)
_RATE = re.compile(rf"{_TIME_RATE.pattern}|(?:/| per ) ?(?:kg|kilo|m2|m²|m\^|m\(|sq|cycle)")
_PER_VOLUME = re.compile(r"(?:/| per ) ?(?:[\d.]+ ?)?(?:ml|cc)(?!\w)")
_BLOOD = re.compile(
    r"(?: of)? (?:packed|p?rbc|red |blood|whole|ffp|fresh|platelet|plasma|cryo|autologous)"
)
_NOT_PERCENT = re.compile(
    r"(?:sat\w{0,8}|spo2|o2|oxygen|ef|fraction|stenosis|about)[ :=]{0,3}(?:of |was |is )?$"
)
_SOLUTE = re.compile(r" (?:\w{2,12}caine|dextrose|\w{0,7} ?saline)(?!\w)")
_SOLUTE_BEFORE = re.compile(r"(?:\w{2,12}caine|dextrose|saline) $")
_FLUID = re.compile(
    r"(?<!\w)(?:ns|lr|d5\w{0,4}|saline|dextrose|ringer'?s|tpn|fluids?|ivf|infusion|drip)(?!\w)"
)
_CONTAINER = re.compile(r"[ -](?:syringe|vial|bag|balloon|bottle|chamber)")
_PRESSURE = re.compile(r"(?:bp|pressures?|on|of|is|was|over)[ :]{0,3}$")
_DISPENSED = re.compile(
    r"(?<!\w)(?:disp(?:ense|ensed)?|quantity|qty|number|no\.|total(?: of)?|supply)[:*# ]{0,4}$"
)
_COUNTABLE = re.compile(
    r" (?:an? |of (?:the|these) )?(?:[\w-]{1,12} ){0,2}?"
    r"(?:tab|cap|pill|softgel|gelcap|loz|troche|supp)"
)
_NUMBERED = re.compile(r"(?:no\.|number|#) $")
_NOT_A_FORM = re.compile(r"(?:#\d{1,4} \w+|(?<![/\d.])[\d.]{1,6} ?(?:ml|cc)[ -]syringes?)$")
_REFILL = re.compile(r" ?[\w()]{0,20}[ ,.*:-]{0,3}(?:with |and )?(?:no |\d |one |zero )?refill")
_TAKEN = re.compile(
    r"(?<!\w)(?:takes?|took|taking|taken|ingested|swallowed|overdos\w{0,4})\W.{0,25}$"
)
_VERB = re.compile(r"(?<!\w)(?:takes?|taking|give|use|sig):? $")

_NOT_ROUTE_BEFORE = re.compile(
    r"(?:(?<!\w)(?:stage|nerves?|grade|class|type|factor|phase|axis|category|level|cn|i|ii|iii|dsm"
    r"|hawkins|gauge|peripheral|through the|nothing|an|a|the|his|her)[ ,]{1,2}|[\w.]-|(?<!\w)n\.)$"
)
_NOT_ROUTE_AFTER = re.compile(
    r"[ /](?:access|lines?|catheters?|sites?|contrast|dye|team|poles?|pump|intake|diet|feeds?"
    r"|drug (?:ab)?use|was (?:placed|started|inserted|established)|placement|mucosa|cavity|exam"
    r"|lesion|hygiene|airway|temp|pharynx|surg|tissue|tunnel|fat|septum|cannula|congestion"
    r"|emphysema|layer|delivery|pain|in place|diagnos|and (?:nasal|pharyn|dental)|box"
    r"|fluids?(?::|\n)|sedation)"
)
_ADJECTIVE = frozenset({"iv", "i.v", "i.v.", "im", "po", "p.o", "p.o.", "oral", "intravenous"})
_DRUG_ROUTE = re.compile(
    r"intravenous|intrathecal|intravitreal|intramuscular|intraperitoneal|inhaled|topical"
)
_NEVER_SURE = re.compile(
    r"injection|percutaneous|nasal|rectal|vaginal|epidural|o[sdu]$|td$|.*(?:eye|ear|nostril|nare)s?$"
)

_NOT_FREQUENCY_AFTER = re.compile(
    r" (?:activit|living|weigh|basis|life|routine|exercis|progress|dressing|wound|ago|later|prior|"
    r"history|labs?|visit|monitor|check|old|smok|alcohol)"
)
_NOT_FREQUENCY_BEFORE = re.compile(r"(?<!\w)(?:within|in|about|half) $")
_BADE = re.compile(r" (?:me|him|her|us|them|you|farewell|good)")
_ONCE_AFTER = re.compile(r" ?(?:[.,;)\n]|$|(?:and|then|now|only|tonight|for|at|today)\b)")
_NOT_TREATMENT = re.compile(
    r"(?<!\w)(?:dressing|wound|sitz|soak|clinic|follow|return|seen?|visit|check|monitor|lab|vital"
    r"|weigh|walk|ambulat|exercis|therapy|feed|breast|diet|meal|void|cath|urin|bowel|stool|accu"
    r"|finger|glucose|sugar|suction|pack|smok|cigar|drink|beer|wine|alcohol|coffee|turn|ice|brace"
    r"|splint|clean|wash|chang|shower|chest|session|group|study|test|draw|dialysis|formula|pain"
    r"|here|problem|noct|bath|pray|church|symptom|episode|headache|call|office|evaluat)"
)
_WORD_BEFORE = re.compile(r"[a-z][a-z0-9)/-]{2,}(?: (?:no\. |#)\d)?(?:,| and| or)? $")
_LISTED = re.compile(r" {0,8}(?:\d{1,2}[.)]|[-*•]) ?[a-z][^.;:]{2,45} $")
_LINE_END = re.compile(r"[.,;]? *(?:\n|$)")
_EACH_DAY = re.compile(r"(?:once|twice|daily|nightly|weekly|every|at bed|three|\d)")
_NOT_DURATION_AFTER = re.compile(r" (?:ago|history|old|prior|earlier|later|post)(?!\w)")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")


def items(original: str, text: str) -> Iterator[Item]:
    """Yield the items of ``text``, the folded ``original``, in order; none overlaps another."""
    dispensed_end = -2
    for match in ITEM.finditer(text):
        start, end = match.span()
        before, after = text[max(start - _SIGHT, 0) : start], text[end : end + _SIGHT]
        match kind := match.lastgroup or "":
            case "amount" | "percent" | "units" | "volume" | "counted":
                found = _measure(kind, match, before, after)
            case "count" | "bare":
                found = _count(kind, match, before, text)
                if found is None:
                    dispensed_end = end
            case "pair":
                found = None if _PRESSURE.search(before) else ("STRENGTH", False)
            case "scale":
                found = ("DOSAGE", True)
            case "times" | "frequency" | "maybe_frequency":
                found = _frequency(kind, match, before, after, text)
            case "duration" | "course":
                found = _duration(kind, before, after)
            case "route" | "maybe_route":
                found = _route(match, before, after, original)
            case _:
                other = start - dispensed_end <= 1 or _NOT_A_FORM.search(before + match.group())
                found = None if other else ("FORM", False)
        if found is not None:
            label, sure = found
            if kind in ("count", "bare"):
                end = match.end("quantity")
            yield Item(start, end, kind, label, sure)


_Found = tuple[str, bool] | None


def _measure(kind: str, match: re.Match[str], before: str, after: str) -> _Found:
    phrase = match.group()
    if _LAB.search(phrase):
        return None
    if kind == "percent":
        if _NOT_PERCENT.search(before):
            return None
        return "STRENGTH", bool(_SOLUTE.match(after) or _SOLUTE_BEFORE.search(before))
    if kind == "units":
        if _BLOOD.match(after):
            return None
        if _PER_VOLUME.search(phrase):
            return "STRENGTH", "unit" in phrase
        return "DOSAGE", "units" in phrase and _largest(phrase) >= 1
    if kind == "volume":
        if _CONTAINER.match(after):
            return None
        flows = bool(_TIME_RATE.search(phrase) and _FLUID.search(before + after[:15]))
        return "DOSAGE", flows
    if kind == "counted":
        return "DOSAGE", any(word in phrase for word in ("puff", "spray", "inhal", "squirt"))
    if _MEASURED.search(before) or _NOT_MASS.match(after):
        return None
    if re.search(r"[\d ](?:ng|nano)", phrase) and "kg" not in phrase:
        return None
    if _PER_VOLUME.search(phrase) and "mg" not in phrase and "eq" not in phrase:
        return "STRENGTH", False  # mcg/mL may be a drug's level in blood
    patch = "patch" in before[-12:] or "patch" in after[:12]
    rate = bool(_RATE.search(phrase)) and not patch
    weighed = bool(_GRAMS.search(phrase)) and _largest(phrase) > _MAX_GRAMS
    return ("DOSAGE" if rate else "STRENGTH"), not weighed


def _count(kind: str, match: re.Match[str], before: str, text: str) -> _Found:
    largest = _largest(match["quantity"])
    if kind == "bare":
        if _NUMBERED.search(before):
            return None
        # "Lasix 40 po bid" leaves the unit out; "1 po bid" counts tablets.
        without_unit = largest > _MAX_TAKEN or "." in match["quantity"]
        return ("STRENGTH" if without_unit else "DOSAGE"), bool(_VERB.search(before))
    end = match.end()
    many = largest > _MAX_TAKEN and not _TAKEN.search(before)
    if many or _DISPENSED.search(before) or _REFILL.match(text, end):
        return None
    return "DOSAGE", bool(_COUNTABLE.match(text, end))


def _largest(quantity: str) -> float:
    return max((float(number) for number in _DIGITS.findall(quantity)), default=1.0)


def _frequency(kind: str, match: re.Match[str], before: str, after: str, text: str) -> _Found:
    phrase = match.group()
    if _NOT_FREQUENCY_AFTER.match(after):
        return None
    if phrase == "once" and not _ONCE_AFTER.match(after):
        return None
    if phrase.startswith("a ") and _NOT_FREQUENCY_BEFORE.search(before):
        return None
    if phrase == "bid" and _BADE.match(after):
        return None
    line = text[max(match.start() - _LINE_SIGHT, 0) : match.start()].rpartition("\n")[2]
    if _NOT_TREATMENT.search(line):
        return "FREQUENCY", False
    if kind == "frequency":
        return "FREQUENCY", bool(_WORD_BEFORE.search(line))
    listed = _LISTED.fullmatch(line) and _LINE_END.match(after) and _EACH_DAY.match(phrase)
    return "FREQUENCY", bool(listed)


def _duration(kind: str, before: str, after: str) -> _Found:
    if _NOT_DURATION_AFTER.match(after):
        return None
    if kind == "course":
        return "DURATION", bool(_OF_DRUG.match(after))
    goes_on = _DRUG_SHORTLY_BEFORE.search(before) and not _STOPPED.search(before)
    return "DURATION", bool(goes_on)


def _route(match: re.Match[str], before: str, after: str, original: str) -> _Found:
    if _NOT_ROUTE_BEFORE.search(before) or _NOT_ROUTE_AFTER.match(after):
        return None
    phrase, (start, end) = match.group(), match.span()
    if phrase in ("ou", "os", "od") and not original[start:end].isupper():
        return None
    if _NEVER_SURE.match(phrase):
        return "ROUTE", False
    sure = _DRUG_NEXT.match(after) or _DRUG_JUST_BEFORE.search(before)
    if phrase in _ADJECTIVE and not original[start:end].istitle():
        sure = sure or _NAME_NEXT.match(original, end)
    if phrase.endswith("ly"):
        sure = sure or _JUST_GIVEN.search(before)
    if _DRUG_ROUTE.match(phrase):
        sure = sure or _GIVING.match(after)
    return "ROUTE", bool(sure)

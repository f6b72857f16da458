"""The wording of medication lines: one pattern over folded text, one named group an item.

Everything is written for text that ``fold`` has made plain. Repeats are bounded or possessive, so
that no text makes a match start over: the search takes time in proportion to the text's length.
"""

from __future__ import annotations

import re

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\t\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u202f\u205f\u3000", " "),
        **{chr(code): " " for code in range(0x2000, 0x200B)},
        **dict.fromkeys("\u2028\u2029", "\n"),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        "μ": "µ",
        "×": "x",
        "⁄": "/",
        "\u2019": "'",
    }
)
# A line that was cut at the edge of a page goes on in the next one; an item of a list does not.
_WRAP = re.compile(
    r"\n(?<=[^\n]{49}[^\n.:;!?]\n)(?! {0,20}(?:\n|[-*•#]|\d{1,3}[.)] |[^\n:]{1,30}:))"
)


def fold(text: str) -> str:
    """Give the text in plain lower case, character for character: offsets stay true.

    Blanks of every kind become a space, dashes a hyphen; so does a line break that only wraps.
    """
    low = text.lower()
    if len(low) != len(text):  # a few capitals have no single small letter
        low = "".join(small if len(small := c.lower()) == 1 else c for c in text)
    return _WRAP.sub(" ", low.translate(_PLAIN))


def _any(words: str) -> str:
    """One of the words, the longest first; ``_`` is a space or a hyphen, ``(s)`` a plural."""
    each = sorted((w.replace("(s)", "s?") for w in words.split()), key=len, reverse=True)
    return "(?:" + "|".join(w.replace("_", "[ -]") for w in each) + ")"


_END = r"(?!\w)"
_DIGITS = r"(?:\d{1,9}+(?:[.,]\d{1,6}+){0,3}+(?: ?[½¼¾⅓⅔⅛])?+|\.\d{1,6}+|[½¼¾⅓⅔⅛])"
_WORD = _any(
    "one two three four five six seven eight nine ten eleven twelve fourteen fifteen twenty "
    "twenty_one thirty forty half a_half one_half"
)
_NUMBER = rf"(?:{_DIGITS}|{_WORD}{_END})(?: ?\( ?{_DIGITS} ?\))?+"
_JOIN = r"(?: ?- ?| ?/ ?| to | or | and | (?=\d{1,2}/\d))"
_QUANTITY = rf"{_NUMBER}(?:{_JOIN}{_NUMBER}){{0,3}}"

_MASS = r"(?:million |thousand )?" + _any(
    "mg(s) mgm(s) milligram(s) mcg(s) µg ug microgram(s) microg g gm(s) gram(s) meq(s) "
    "milliequivalent(s) mmol(s) millimole(s) nanogram(s) ng"
)
_UNITS = r"(?:million |thousand )?" + _any("unit(s) international_unit(s) u iu i\\.u\\.")
_VOLUME = _any(
    "ml(s) cc(s) milliliter(s) millilitre(s) teaspoon(s) teaspoonful(s) tsp tbsp tablespoon(s) "
    "tablespoonful(s) ounce(s) oz capful(s) scoop(s)"
)
_COUNTED = _any(
    "puff(s) inhalation(s) spray(s) squirt(s) actuation(s) drop(s) gtt(s) application(s) appl "
    "applicatorful(s) puff\\(s\\) drop\\(s\\) spray\\(s\\) swab(s)"
)
_PER = (
    rf"(?:(?: ?/ ?(?:{_DIGITS} ?)?"
    r"(?:kg|kilo|m2|m²|m\^2|m\(2\)|sq ?m|d|day|h|hr|hour|min|minute|wk|week|month|cycle|dose|ml|cc"
    r"|dl|l|liter|mm|g|tablet|tab|capsule|cap|actuation|act|puff|inh|inhalation|spray|vial|drop)(?!\w)"
    r"| per (?:kg|kilogram|kilo|m2|square meter|hour|hr|minute|min|dose|liter)(?!\w)){0,3})"
)

_FORM_BEFORE = _any(
    "extended_release sustained_release delayed_release controlled_release immediate_release "
    "slow_release long_acting enteric_coated film_coated chewable disintegrating dispersible "
    "effervescent scored prefilled pre_filled eye ear metered_dose dry_powder er xr sr cr xl dr ec"
)
_SURE_FORM = _any(
    "tablet(s) tablet\\(s\\) tab(s) tab\\(s\\) capsule(s) capsule\\(s\\) cap(s) cap\\(s\\) "
    "caplet(s) pill(s) softgel(s) gelcap(s) lozenge(s) troche(s) suppository suppositories"
)
_MAYBE_FORM = _any(
    "patch patches patch\\(s\\) cream ointment oint lotion gel foam shampoo solution soln "
    "suspension susp syrup elixir liquid drops powder inhaler(s) mdi hfa diskus "
    "disk_with_device nebulizer(s) neb(s) nebule(s) spray vial(s) ampule(s) amp(s) syringe(s) "
    "pen(s) flexpen(s) packet(s) sachet(s) enema(s) paste film(s) gum(s) granules wafer(s) "
    "aerosol aerosol_inhaler tincture"
)
_FORM_AFTER = (
    r"(?:,? ?(?:extended|sustained|delayed|controlled)[ -]release|,? ?(?:chewable|disintegrating"
    r"|effervescent|medicated|rapid dissolve|suspension|soluble)| ?\(?e\.c\.\)?"
    r"| (?:er|xr|sr|cr|xl|dr|ec|odt)| (?:12|24|72) ?h(?:r|our)s?| for (?:nebulization|injection"
    r"|suspension|inhalation|reconstitution))(?!\w)"
)
_FORM = (
    rf"(?:(?:{_FORM_BEFORE} ){{0,2}}(?P<form>{_SURE_FORM}){_END}(?:{_FORM_AFTER}){{0,3}}+"
    rf"|(?:{_FORM_BEFORE} ){{0,2}}(?P<maybe_form>{_MAYBE_FORM}){_END}(?:{_FORM_AFTER}){{0,3}}+"
    r"|(?P<release>(?:extended|sustained|delayed|controlled)[ -]release|enteric[ -]coated))(?!\w)"
)

_TUBE = (
    r"(?:(?:per|via|by|through|thru|down) (?:the |his |her |a )?(?:[a-z]{1,9}[ -])?"
    r"(?:tube|[gj]-?tube|ngt|ogt|peg|dobhoff|nebuli[sz](?:er|ation))|(?:g|j|ng|og|peg)[ -]tube)"
)
_SURE_ROUTE = (
    r"(?:p\.o\.?|po|p\.o|by mouth|per os|orally|i\.v\. drip|iv drip|iv push|iv infusion|ivpb|ivp"
    r"|i\.v\.?|iv|i\.m\.?|im|s\.c\.?|s\.q\.?|sc|sq|sub-?q|sub q\.?|subcut|subcu|subcutaneously"
    r"|s\.l\.?|sl|sublingually|intramuscularly|intravenously|per rectum|rectally|p\.r\.?(?!n)"
    rf"|vaginally|per vagina|intranasally|topically|transdermally|intrathecally|{_TUBE})"
)
_MAYBE_ROUTE = (
    r"(?:oral|intravenous(?: (?:infusion|drip|push))?|intramuscular|subcutaneous|sublingual|topical"
    r"|transdermal|inhaled|inhalation|nebulized|nasal|intranasal|nasally|ophthalmic|otic|rectal"
    r"|vaginal|buccal|buccally|intrathecal|epidural|intravitreal|intra-?articular|intraperitoneal"
    r"|percutaneous|pr|td|inh|o\.u\.?|o\.s\.?|o\.d\.?|ou|os|od|(?:continuous )?(?:infusion|drip)"
    r"|injection|(?:(?:in|into|to) )?(?:the )?(?:both|each|right|left|affected) (?:eyes?|ears?"
    r"|nostrils?|nares|nare)|per (?:nostril|nare|eye)|to (?:the )?affected areas?"
    r"|swish and (?:swallow|spit))"
)

_TIME = _any(
    "hour(s) hr(s) h day(s) d night(s) morning(s) evening(s) afternoon(s) week(s) wk(s) w "
    "month(s) mo(s) minute(s) min(s) year(s) meal(s)"
)
_MEAL = r"(?:breakfast|lunch|dinner|supper|(?:each )?meals?|food)"
_CLOCK = r"(?:morning|afternoon|evening|a\.m\.?|p\.m\.?|am|pm)"
_PART = (
    rf"(?:at (?:bedtime|night ?time|night|noon|h\.s\.?|hs|{_MEAL}|{_CLOCK})|with {_MEAL}"
    rf"|in (?:the )?{_CLOCK}|(?:before|after) (?:bedtime|bed|{_MEAL}))(?!\w)"
)
_WEEKDAY = r"(?:mon|tues?|wed|thu(?:rs?)?|fri|sat|sun|wednes|satur)(?:days?|\.)?(?!\w)"
_EVERY = (
    r"\d{1,2}(?:(?: ?- ?| to | or )\d{1,2})? ?-?"
    r"(?:hours?|hourly|hrs?|h|minutes?|min|days?|d|weeks?|wks?|months?|mo)"
)
_SURE_FREQUENCY = (
    # q.4-6h., q.d., q.h.s.; q6h, qd, qhs; q. day, q Monday; b.i.d., bid, p.r.n.
    rf"(?:q\. ?(?:{_EVERY}|d|h\.? ?s|o\.? ?d|a\.? ?m|p\.? ?m|a\.? ?c)(?!\w)\.?"
    rf"|q ?(?:{_EVERY}|d|hs|od|am|pm|ac|mwf)"
    r"|q\.? ?(?:every )?(?:daily|day|weekly|week|wk|monthly|month|shift|nightly|night|noon|morning"
    r"|evening|bedtime|other day|mon|tues?|wed|thurs?|fri|sat|sun)(?:day)?"
    r"|[btq]\. ?i\. ?[dw](?!\w)\.?|[btq]id|[bt]iw|p\. ?r\. ?n(?!\w)\.?|prn)(?!\w)"
)
_TIMES = (
    r"(?:[ -]?(?:x|times?)(?:[ -]?(?:a|per|each|every|in a)[ -]| ?/ ?|[ -])"
    r"(?:day|d|daily|week|weekly|wk|month|monthly|night|nightly|hour|24 hours|year|yearly))(?!\w)"
)
_MAYBE_FREQUENCY = (
    r"(?:(?:once|twice|thrice)(?:[ -](?:(?:a|per|each|every)[ -])?| ?/ ?)"
    r"(?:day|daily|week|weekly|wk|month|monthly|night|nightly|year|yearly)"
    rf"|every (?:other |single |{_NUMBER}(?:(?: ?- ?| to | or ){_NUMBER})?[ -])?{_TIME}{_END}"
    r"(?: and (?:evening|night|afternoon|bedtime))?|every-other-day|everyday|every "
    rf"(?:a\.m\.?|p\.m\.?|am|pm)|each (?:day|night|morning|evening|meal)"
    r"|(?:bi-?)?(?:weekly|monthly)|daily|nightly|hourly|(?:a|per|/) ?(?:day|week|month)"
    rf"|{_PART}"
    r"|at \d{1,2}(?::\d\d)? ?[ap]\.?m(?!\w)\.?|a\.m\.?|p\.m\.?"
    rf"|(?:on |every )?{_WEEKDAY}"
    rf"(?:(?:, and |, ?| ?/ ?| and | & | through | to |-){_WEEKDAY}){{1,6}}"
    rf"|(?:on|every) {_WEEKDAY}|m ?[/-] ?w ?[/-] ?f|mwf"
    r"|(?:as|if|when) needed|as necessary|as required"
    r"|a\.c\.?|p\.c\.?|h\.s\.?|ac(?: ?(?:&|and) ?hs)?|hs|once|x ?(?:1|one)|around the clock"
    r"|continuously)(?!\w)"
)

_SPELL = _any(
    "minute(s) min(s) hour(s) hr(s) h day(s) d night(s) week(s) wk(s) month(s) mo(s) year(s) yr(s) "
    "dose(s) cycle(s)"
)
_MORE = r"(?:more|additional|further|full|consecutive|total|weekly|daily)"
_DURATION = (
    rf"(?:x ?{_QUANTITY}[ -]?(?:{_MORE} )?{_SPELL}"
    r"|(?:for|times|over) (?:(?:the|a|an|another|next|total|of|up|to|about|approximately|at|least"
    r"|additional|full|only|further|maximum|period|course) ){0,6}"
    rf"(?:{_QUANTITY}|several|few|couple|(?<=an |.a )(?=.))[ -]?(?:of )?(?:{_MORE} )?{_SPELL}"
    r"(?: course| total)?)(?!\w)"
)

ITEM = re.compile(
    r"(?<![\w#$])(?=[\w.½¼¾⅓⅔⅛/])(?:"
    rf"(?<!\d[.,/:])(?P<quantity>{_QUANTITY})(?=[ -]?[a-zµ%])(?:"
    rf"(?P<amount>[ -]?{_MASS}{_END}(?: ?[-/] ?{_DIGITS}[ -]?{_MASS}{_END}){{0,2}}{_PER})"
    r"|(?P<percent> ?%(?!\w))"
    rf"|(?P<units>[ -]?{_UNITS}{_END}{_PER})"
    rf"|(?P<volume>[ -]?{_VOLUME}{_END}{_PER})"
    rf"|(?P<counted>[ -]{_COUNTED}{_END})"
    rf"|(?P<times>{_TIMES}|[ -](?:minutes?|hours?) {_PART})"
    rf"|(?P<course>[ -](?:day|week|month|dose)s?[ -](?:course|regimen|taper)(?!\w))"
    rf"|(?P<count>(?= (?:an? |of (?:the|these) )?(?:{_FORM_BEFORE} )?"
    rf"(?:{_SURE_FORM}|{_MAYBE_FORM}){_END}))"
    rf"|(?P<bare>(?= (?!a\.?m|p\.?m)(?:{_SURE_ROUTE}|{_SURE_FREQUENCY}|{_MAYBE_FREQUENCY}){_END})))"
    r"|(?P<pair>(?<!\d[.,/:])\d{1,3}(?:\.\d)?/\d{2,3}(?:\.\d)?(?![\w/%]))"
    rf"|(?=[a-z/])(?:(?P<duration>{_DURATION})"
    rf"|(?P<frequency>{_SURE_FREQUENCY})"
    rf"|(?P<maybe_frequency>{_MAYBE_FREQUENCY})"
    rf"|(?P<route>{_SURE_ROUTE}){_END}"
    rf"|(?P<maybe_route>{_MAYBE_ROUTE}){_END}"
    rf"|(?P<scale>sliding[ -]scale)"
    rf"|{_FORM}))"
)
"""Finds what may be an item of a medication line; ``lastgroup`` says of which kind."""

"""Names that terminologies hold and notes seldom mean."""

from __future__ import annotations

_FUNCTION_WORDS = """
a about after all also an and any are as at be been before both but by can did do for from had has
have he her him his how i if in into is it its just may me more most my no nor not now of off on
one or other our out over own per said same she so some such than that the their then there they
this to too under up us was we were what when who will with you
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English function words: a term of these and of numbers alone is left out."""

# By the reason why.
_EVERYDAY = {
    "as good as no finding": """
        complaint, condition, deformity, discharge, disease, disorder, emergency, event, finding,
        illness, impairment, injury, lesion, mass, problem, recurrence, sign, symptom, syndrome
    """,
    "measured, normal or history": """
        afebrile, alert, analgesia, blood pressure, body temperature, family history, gas,
        healthy, heart rate, normal, past medical history, position, pulse, temperature
    """,
    "says only how or where": """
        abnormal, acute, affected, apical, asymmetric, axial, bilateral, borderline, central,
        chronic, diffuse, distal, dull, excluded, fall, focal, frequency, frequent, generalized,
        heterogeneous, intensity, lateral, left, left sided, localized, mild, moderate,
        multifocal, occasional, onset, peripheral, persistent, progressive, prolonged, proximal,
        recurrent, refractory, right, right sided, severe, severity, sharp, stable, symmetric,
        transient, unilateral
    """,
    "of the body": """
        blood, bone, fat, fibrin, heart, hemoglobin, haemoglobin, kidney, liver, lung, muscle,
        myelin, plasma, serum, skin, urine
    """,
    "eaten, or an allergen": """
        almond, apple, banana, barley, basil, beef, broccoli, carrot, cat hair, cauliflower,
        celery, cheese, cherry, chicken, chocolate, coconut, corn, crab, duck, egg, fig, fish,
        garlic, ginger, grape, honey, lemon, lobster, milk, mushroom, mustard, oat, onion, orange,
        pea, peach, peanut, pear, pork, potato, rice, salmon, salt, shrimp, soybean, spinach,
        strawberry, sugar, tea, tobacco, tomato, turkey, vanilla, walnut, wheat, wine
    """,
    "thing, or a word before it was a brand": """
        abc, air, balance, beam, bore, bovine, cascade, cellulose, cotton, date, dimension, dog,
        hank, horse, lambda, latex, lead, metal, milestone, monitor, mouse, nylon, paper, plastic,
        rabbit, rat, rubber, silk, smoke, titanium, today, triad, water, wax, wool
    """,
}
EVERYDAY = frozenset(name.strip() for names in _EVERYDAY.values() for name in names.split(","))
"""Left out of every dictionary unless ``MatchSettings.everyday`` says otherwise."""

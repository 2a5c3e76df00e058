"""Further case studies, of `safe_dnn.casestudies.case.Case`: eyes of 20 persons, heads, and traffic signs.

Reading order: `people` (the drivers of two of the cases), `heads` (parameters, cases and simulator of a head), `signs`
(the same of traffic signs, and their detector), `cases` (all cases), `build`, `contact_sheet` (an overview picture).
"""

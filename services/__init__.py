"""The path of a claim.

========================  =============================================  ===================================
step                      decides                                        announces
========================  =============================================  ===================================
intake (受理)             well formed? new, a repeat, a conflict? whose? ``claims.accepted`` / ``claims.rejected``
eligibility (资格)        who, where, which benefit on that day          ``claims.eligible``
adjudication (核算)       deductible, ratios, caps, supplements          ``claims.adjudicated``
account (账务)            own account, family account, cash; journal     ``claims.settled`` / ``claims.rejected``
crossregion (异地清算)    what one region owes another                   ``clearing.*``
========================  =============================================  ===================================

Read on in ``services/pipeline.py``, ``shared/events.py``, each service's ``steps.py``, and ``adjudication/engine.py``.
"""

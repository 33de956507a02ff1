"""The audit: every invariant that can be checked on what is stored, as one table of named checks (审计).

``check`` says what a check and its finding are, ``view`` what a check may look at; each other module holds one family of
checks; ``run`` takes them all through one snapshot. Checks that rest on another service's pure code are handed in from above
(``services.audit_grounds``), because ops imports no service.
"""

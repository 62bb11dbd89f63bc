"""What every route needs: authentication, bodies, pages, problems, limits, the services behind it.

Owns: turning a request into a principal and a strict body, and an error into `application/problem+json`; slow clients;
rate limits; commands that are submitted and awaited (`submit.py`). Does not own: any route of a subject.
Start at `auth.py` and `problem.py`.
"""

"""What every route needs: authentication, bodies, pages, problems, limits, the services behind it."""

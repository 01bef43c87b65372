# Settings and secrets in one file, as a program expects them.
PORT=8080
DATABASE_USER=<< secrets.db.username >>
DATABASE_PASSWORD=<< secrets.db.password >>
API_KEY=<< secrets.api_key >>
LOG_LEVEL=<< secrets.log_level | default("info") >>

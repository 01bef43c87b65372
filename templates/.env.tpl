<# For dotenv libraries (node, python, ruby, php …) and for `.` in a shell. Each value is quoted as all
   of them read it; one that they would read differently is refused. -#>
# rendered when it was opened
DATABASE_USER=<< secrets.db.username >>
DATABASE_PASSWORD=<< secrets.db.password >>
API_KEY=<< secrets.api_key >>

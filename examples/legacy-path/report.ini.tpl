[database]
user = report
password = << secrets.db_password >>

password = << secrets.db >>

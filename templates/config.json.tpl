{
  "database": {
    "host": "localhost",
    "user": << secrets.db.username >>,
    "password": << secrets.db.password >>
  },
  "api": { "header": "Bearer << secrets.api_key >>" }
}

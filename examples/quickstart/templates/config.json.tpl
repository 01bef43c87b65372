{
  "port": 8080,
  "database": "postgres://<< secrets.db.username | urlencode >>:<< secrets.db.password | urlencode >>@localhost/app",
  "api_key": << secrets.api_key >>
}

{
  "database": {"user": << secrets.db.username >>, "password": << secrets.db.password >>}
}

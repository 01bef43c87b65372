<# ruby, java, python, go: a YAML config file
   Use: the program's own option or path, or a link to /run/secretfs/app/application.yaml
        Spring: --spring.config.additional-location=file:/run/secretfs/app/
        A value comes back as a text, whatever it looks like (yes, 012, ~), and cannot become anything else.
   Rotation: whenever the program reads it again.
   Secrets: secretfs set db --type basic-auth
            secretfs set api_key
-#>
database:
  host: localhost
  username: << secrets.db.username >>
  password: << secrets.db.password >>
api:
  header: "Bearer << secrets.api_key >>"

<# node, python, ruby, php: a .env file for their dotenv libraries
   Use: node --env-file /run/secretfs/app/app.env server.js
        python: load_dotenv("/run/secretfs/app/app.env"), ruby: Dotenv.load!("/run/secretfs/app/app.env")
        php: Dotenv\Dotenv::createImmutable("/run/secretfs/app", "app.env")->load()
        Each value is quoted as all of them read it; one that they read differently is refused.
   Rotation: at the next start, for that is when programs read it.
   Secrets: secretfs set db --type basic-auth
            secretfs set api_key
-#>
DATABASE_USER=<< secrets.db.username >>
DATABASE_PASSWORD=<< secrets.db.password >>
API_KEY=<< secrets.api_key >>
LOG_LEVEL=info

API_TOKEN=<< secrets.api_token >>

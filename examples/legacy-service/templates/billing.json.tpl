{
  "company": "Example Ltd",
  "signing_key": << secrets.billing_key >>
}

<# For nginx, postgres, any TLS server: a PEM file is plain text. -#>
<< secrets.tls_key | trim >>

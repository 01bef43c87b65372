<# For git: git config credential.helper "store --file /run/secretfs/app/git-credentials" -#>
https://deploy:<< secrets.git_token | urlencode >>@git.example.com

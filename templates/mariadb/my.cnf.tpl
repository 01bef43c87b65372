<# mariadb, mariadb-dump: an option file with a login
   Use: mariadb --defaults-extra-file=/run/secretfs/app/my.cnf
        Quotes, backslashes and line breaks are escaped as MariaDB reads them.
   Rotation: the next command reads it.
   Secrets: secretfs set db --type basic-auth
-#>
[client]
user="<< secrets.db.username | split("\\") | join("\\\\") | split("\"") | join("\\\"") | split("\n") | join("\\n") >>"
password="<< secrets.db.password | split("\\") | join("\\\\") | split("\"") | join("\\\"") | split("\n") | join("\\n") >>"

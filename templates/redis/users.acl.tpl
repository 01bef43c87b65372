<# redis: who may do what
   Use: aclfile /run/secretfs/app/users.acl in redis.conf, instead of requirepass; and in the config of the
        mount, for this file, owner: redis.
        It holds a hash, so every password is safe here; requirepass in redis.conf would carry few.
        `default` is whom `AUTH PASSWORD` and REDISCLI_AUTH mean. ACL SAVE cannot write here.
   Rotation: ACL LOAD, for which redis-cli logs in with the password that still holds, the version before:
             secretfs exec --env REDISCLI_AUTH=redis_password@1 -- redis-cli ACL LOAD
             Who is logged in as `default` stays so.
   Secrets: secretfs set redis_password
-#>
user default on #<< secrets.redis_password | hash("sha256") >> ~* &* +@all

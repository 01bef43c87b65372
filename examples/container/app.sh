# The container's program: reads its config whenever it is told to.
while read -r _; do
    /bin/busybox cat /etc/app/db.conf
done

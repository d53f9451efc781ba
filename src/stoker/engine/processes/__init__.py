"""Worker processes: forked from a zygote that has torch loaded, fed through a pipe, writing into the loop's memory."""

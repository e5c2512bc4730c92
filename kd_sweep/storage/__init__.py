"""What a file is: whole, durable, checksummed, on local disks and in object stores; and who may write it."""

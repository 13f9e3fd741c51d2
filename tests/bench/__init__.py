"""`make bench`: swanherd beside what people use today and what charon can do at best, in one lab."""

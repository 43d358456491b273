-- The queue has a database of its own, so that the books can be dumped without it.
CREATE DATABASE jiejing_jobs;

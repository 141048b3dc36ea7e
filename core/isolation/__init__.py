"""Work that may hang, crash or eat memory, done by a process that is killed for that: the program goes on.

`client.ask` is what the rest of the program calls. It starts the keeper once (`keeper.main`), a program of its own that does
no such work: it forks the workers that do, watches time, memory and output, and kills a worker with all that this one
started. The keeper ends when the program does, however that ends, and takes its workers with it.

Nobody is kept from doing harm on purpose here: what runs has the rights of the person who started the program.
"""

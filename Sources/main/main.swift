import Commands

Resq.run()

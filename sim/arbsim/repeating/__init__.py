"""Many repetitions of one race, live and simulated: does the model break a design as often as the servers do?"""

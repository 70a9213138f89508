# How Bitcoin Core is compiled for the judge: no debug information and little optimisation. Built
# once and run for seconds, so that compiling is nearly the whole cost. Nothing is left out and no
# assertion is switched off.
set(APPEND_CXXFLAGS "-g0 -O1" CACHE STRING "" FORCE)
set(APPEND_CFLAGS "-g0" CACHE STRING "" FORCE)

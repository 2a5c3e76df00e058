"""Error rates of RCCs, and weak spots: conditions under which the DNN fails more often."""

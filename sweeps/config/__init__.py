"""The files that a person writes: experiments and clusters."""

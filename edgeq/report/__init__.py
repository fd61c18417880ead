"""Tables and pictures for people: values in, rich renderables out."""

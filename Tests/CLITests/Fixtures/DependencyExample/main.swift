import Lamina

print("Lamina is linked")
